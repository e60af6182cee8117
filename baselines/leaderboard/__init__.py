"""The leaderboard: rows that anyone can add and check, and where each method stands among them."""
