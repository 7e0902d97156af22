"""What ``callkeeper`` can be asked, one file a noun."""
