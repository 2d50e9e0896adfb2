"""All formats of labels: importing this module registers them."""
