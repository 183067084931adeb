"""Models as their callers see them: texts in, numbers with a meaning out.

`embedding`, `reranking` and `nli` are the kinds there are. Each stands on a tokenizer and a batcher and knows
neither files nor sessions; `loading` puts them together. `texts` checks what callers send.
"""
