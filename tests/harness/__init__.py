"""A private httpd per configuration, and what a test may ask of it."""
