"""A model that needs no key and no network: it speaks both of OpenAI's APIs and repeats itself."""
