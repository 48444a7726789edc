"""Images at rest: record files, verification sets and folders of people. Always RGB, uint8, height x width x channel."""
