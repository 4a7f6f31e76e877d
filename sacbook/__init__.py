"""How the book is made: jobs of the workflow, parameters, pages, downloads, comparisons."""
