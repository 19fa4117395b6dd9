"""S3 storage, through obstore: what else knows of it is `orchestrator.places` and `outputs.object_root`."""

SCHEME = "s3://"
NOT_INSTALLED = "object storage needs obstore: pip install 'comfyui-burst[s3]'"
