"""Models as their callers see them: texts in, numbers with a meaning out.

`embedding`, `reranking` (a `cross_encoder` or a `bi_encoder`) and `nli` are the kinds there are. What they
have in common is in `batched`: a tokenizer and a batcher. They know neither files nor sessions; `loading`
puts them together. `texts` checks what callers send, `distinct` finds what need not be computed twice.
"""
