"""Telling others what happens to a state: webhooks, services that Apprise knows, and this host's own commands."""
