"""The data audit: copies, conflicting labels and burned-in marks of any folder-per-class data set."""
