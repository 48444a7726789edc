"""Images on disk: record files, verification sets and folders of people.

Pixels are RGB, uint8, (H, W, 3).
"""
