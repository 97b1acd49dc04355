"""The configuration file of the daemon: what it holds, how it is read, shown and overruled by options."""
