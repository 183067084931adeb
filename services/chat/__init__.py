"""Service: conversation with language models, local ones first, at whichever provider can answer."""
