"""What is asked beyond the paper: do relations help, what could they give at most, who influences whom?"""
