"""What makes pages from the code, and the site from the pages."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
