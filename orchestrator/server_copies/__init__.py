"""What servers keep of finished work: copies in their output folders, of what is downloaded and recorded here."""
