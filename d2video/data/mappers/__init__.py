"""From a record of a data set to a sample."""
