"""The technician's page: a web server of its own (`busi-kd device page`), in front of the daemon's Unix socket.

aiohttp is imported by the modules of this folder and by nothing else; docs/page.md says who may do what.
"""
