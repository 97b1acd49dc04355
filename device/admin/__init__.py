"""The page's helper with root's rights: a closed list of verbs on a Unix socket, and nothing else (docs/page.md)."""
