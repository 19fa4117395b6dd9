"""What is sent: API-format workflows, addresses into them, and named bindings."""
