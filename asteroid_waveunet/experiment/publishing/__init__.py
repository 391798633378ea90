"""Trained models for the Hugging Face Hub.

package     write the folder of a published model
licensing   derive its license terms from the training data
model_card  write its model card
space       publish a page that separates songs
hub_upload  upload a folder to the Hub
repository  a model or a Space on the Hub, and its errors in words
"""
