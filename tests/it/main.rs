
mod sagemaker_mapping;
