"""What makes pages from the code, and the site from the pages."""
