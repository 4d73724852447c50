"""What people read: result tables, figures, the page, the paper's published numbers."""
