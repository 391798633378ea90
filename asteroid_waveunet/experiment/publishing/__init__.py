"""Trained models for the Hugging Face Hub.

package     write the folder of a published model
licensing   derive its license terms from the training data
model_card  write its model card
hub_upload  upload the folder to the Hub
"""
