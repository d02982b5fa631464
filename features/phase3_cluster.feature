@phase3
Feature: Cluster: the nodes decide together, and no cable parts them
  The nodes form one cluster under its ordered name. They agree over two networks that fail apart, every node
  sees the same, and what would be needed to form the cluster anew is kept where the nodes are not.
  What is said of the cluster is said by every node for itself.

  Background:
    Given every server is installed as a node
    And every node's network is configured
    And the nodes are one cluster

  @criterion-1
  Scenario: Every node is a member and votes
    Then every node sees all ordered nodes as members of the ordered cluster, each with one vote
    And every node sees a quorum of all votes

  @criterion-1
  Scenario: Nobody else is a member
    Then no node is listed that was not ordered, and nothing of a former node is left
    And no node is half joined, and none belongs to another cluster

  Scenario: Every node sees the same
    Then every node has the same configuration, of the same version, on file and in force
    And the cluster's files are the same on every node and can be written
    And every node holds the same key, and nobody but its administrator may read it

  Scenario: Two networks join every pair of nodes
    Then each node has its ordered address on each ordered network of the cluster
    And every pair of nodes is connected over each of them, as both of them see it
    And the cluster's networks are preferred in the ordered sequence

  Scenario: A lost node is noticed in the ordered time
    Then every node waits for a silent node as long as ordered

  Scenario: What the nodes say to each other is encrypted
    Then the nodes speak with each other over the ordered transport, encrypted

  Scenario: Clocks are in step
    Then every node's clock is within 50 milliseconds of the time servers and of every other node's

  Scenario: Guests are moved over the ordered network
    Then every node moves guests over the ordered network

  Scenario: The nodes are close to each other
    Then a round trip between every pair of nodes takes less than 1 millisecond on each network of the cluster

  Scenario: The cluster comes back by itself
    Then on each node the services of the cluster run and start at boot

  @criterion-9
  Scenario: What would form the cluster anew is kept in the parameter store
    Then the cluster's key and configuration are kept encrypted in the parameter store, as they are in force
    And the parameter store names the cluster and its nodes

  Scenario: Nothing of the cluster is left undone
    Then nothing that the cluster orders is left undone
