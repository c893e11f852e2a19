mod assets;
mod demo;
mod input;
mod protocol;
