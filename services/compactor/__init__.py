"""Process: budgets crossed in; summaries of the older part of a line out."""
