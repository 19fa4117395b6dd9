"""Everything rendered: how it is searched, listed and exported. The gallery of the browser shares the search."""
