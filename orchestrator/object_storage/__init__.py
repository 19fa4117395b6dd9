"""S3 storage, through obstore: what else knows of it is `orchestrator.places` and `outputs.object_root`."""

SCHEME = "s3://"
NOT_INSTALLED = "object storage needs obstore: pip install 'comfyui-burst[s3]'"
PAGE = 1000
"""So many objects a storage lists at a request."""
