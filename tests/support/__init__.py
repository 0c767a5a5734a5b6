"""What tests share: made-up data, small models, servers, builders of stores and runs."""
