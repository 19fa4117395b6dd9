"""`burst schedule`: what starts a run again and again, as cron, systemd and Kubernetes want it written."""
