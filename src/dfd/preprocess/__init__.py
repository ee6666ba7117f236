"""Raw videos to face crops: what runs once per dataset."""
