"""The truth: catalogue, users, behaviours, response, advertisers. numpy only."""
