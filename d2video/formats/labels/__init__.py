"""The one form of labels that all readers fill, and how the format at a path is found."""
