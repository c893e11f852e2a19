mod input;
mod protocol;
