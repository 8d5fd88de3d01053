"""A second implementation of metering and rating in plain Python, and its comparison with the published tables."""
