@phase1
Feature: Base installation: every server becomes a node
  Servers that have no system are installed unattended from the prepared medium, over their management
  controllers. A server that runs is never installed again, and a drive that carries data is never written.

  Background:
    Given every server is installed as a node

  Scenario: Every node answers under its own name and address
    Then each node has its ordered name and domain
    And each node has its ordered address on the host network

  Scenario: Every node runs the ordered release
    Then each node runs the ordered release on its matching kernel
    And all nodes run the same versions

  Scenario: The system stands on two healthy drives
    Then each node's system is mirrored on both ordered boot drives and both legs are healthy
    And each node can be booted from either of them

  Scenario: The drives are those that were ordered
    Then each node sees exactly the ordered data drives, by serial number and size
    And no data drive carries anything yet that this deployment did not put there

  Scenario: Names resolve and clocks agree
    Then each node uses exactly the ordered name servers and resolves the other nodes
    And each node's clock is synchronised to the ordered time servers within 50 milliseconds
    And each node is set to the ordered time zone

  Scenario: Software comes from the ordered repositories
    Then each node uses the ordered package repository and no other of its kind

  @criterion-9
  Scenario: Nobody enters with a password
    Then each node's effective configuration refuses passwords
    And a real attempt to enter each node with a password is refused
    And each node admits exactly the automation key and the administrators' key

  Scenario: Every node reads its parameters from the parameter store
    Then each node reads the cluster's name from the parameter store with short-lived credentials

  Scenario: Nothing of the base installation is left undone
    Then nothing that the base installation orders is left undone

  @drill @boot-leg
  Scenario: A node boots with its first boot drive gone
    Given one node, chosen by the seed, whose first boot drive is pulled
    When that node is started
    Then it comes up from its second boot drive
    And after the first drive is back the mirror is whole again
