package room

const nameColumn = "name"
