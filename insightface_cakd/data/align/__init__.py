"""Raw photos become aligned faces: detection, choice of the face, five-point alignment, and a report of what was left out."""
