"""Recipes that come with busi-kd, as TOML files."""
