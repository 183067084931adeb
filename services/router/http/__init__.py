"""The router's HTTP side: OpenAI's language, and Cohere's for reranking, in front of the same methods.

Every handler makes a message of the contract out of JSON, calls the method through the pipeline that gRPC
calls pass (`chassis.local`), and makes JSON out of what comes back. Nothing is decided here.
"""
