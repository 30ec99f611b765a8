"""What a stamp is: how its rows are drawn, what is rendered, which gates hold."""
