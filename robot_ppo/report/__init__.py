"""`robot-ppo report`: one page that says what was trained and what it does."""
