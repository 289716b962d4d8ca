"""What the HTML pages of the project share: skeleton, looks, tables, and the showing of strangers' text."""
