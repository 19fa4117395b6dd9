"""The browser front end and its JSON API, over the same state files as the command line."""
