"""What `import insightface_cakd as cakd` offers, one file a subject."""
