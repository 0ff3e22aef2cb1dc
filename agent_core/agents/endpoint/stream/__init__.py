"""What endpoints stream, made into the chunks that OpenAI's API describes. No I/O but in `decoder`.

Endpoints differ from OpenAI's API, and from each other, in ways that the libraries above do not expect: see
each module. `decoder` puts the parts together: bytes → `body` (JSON values) → `chunks` (clean chunks) → the
OpenAI library.
"""
