# How many ports of the NAT a node may need, and how many addresses the NAT needs for all nodes. Needs no provider.
#
# A port is taken for each connection to one place, and for a while after that was closed. A picture server that closes
# after every picture so costs a port for each picture of the last `wait_s` seconds.

variable "nodes" {
  description = "The most nodes that there can be."
  type        = number
}

variable "connections" {
  description = "The most connections that one run has open at once."
  type        = number

  validation {
    condition     = var.connections > 0
    error_message = "connections is above nothing."
  }
}

variable "pictures_a_second" {
  description = "The most pictures a second that one run gets from one server."
  type        = number

  validation {
    condition     = var.pictures_a_second >= 0
    error_message = "pictures_a_second is 0 or more."
  }
}

variable "wait_s" {
  description = "Seconds for which the port of a closed connection is not used again."
  type        = number
}

locals {
  # Of one address; below 1024 are not given out.
  ports_of_an_address = 65536 - 1024
  # Of any node at once. Google takes powers of two.
  fewest = 512
  needed = var.connections + var.pictures_a_second * var.wait_s
  # A multiple of two above `fewest`, as Google demands, and no more than one node can have.
  most = min(65536, pow(2, ceil(log(max(local.needed, 2 * local.fewest), 2))))
  # Runs that download wait for each other, so one node needs `most`. Two addresses at least, so that one can be drained.
  addresses = max(2, ceil((var.nodes * local.fewest + local.most) / local.ports_of_an_address))
}

output "fewest_ports" {
  description = "Ports that a node has from its beginning."
  value       = local.fewest
}

output "most_ports" {
  description = "Ports that a node can come to have."
  value       = local.most

  precondition {
    condition     = local.needed <= local.ports_of_an_address
    error_message = "One node would need ${local.needed} ports, and an address has ${local.ports_of_an_address}: lower pictures_a_second or wait_s."
  }
}

output "addresses" {
  description = "Addresses that the NAT needs."
  value       = local.addresses
}
