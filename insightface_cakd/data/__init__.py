"""Images on disk: record files, verification sets and folders of people."""
