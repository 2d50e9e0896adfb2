"""From a record of a dataset to a sample."""
