"""Images on disk, as RGB uint8 (H, W, 3): record files, verification sets, folders of people."""
