package stack

const executableSuffix = ".exe"
