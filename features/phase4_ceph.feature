@phase4
Feature: Storage: Ceph keeps every block on three nodes
  The data drives of all nodes form one storage cluster. Each drive is chosen by its serial number and taken only when it is
  blank; what is on a drive that is not blank stays there.

  Background:
    Given every server is installed as a node
    And every node's network is configured
    And the nodes are one cluster
    And storage is ready

  @criterion-2
  Scenario: Every ordered drive serves
    Then as many storage daemons are up and in as data drives were ordered
    And each of them stands on an ordered data drive of its own, by serial number
    And none of them stands on a boot drive

  @criterion-2
  Scenario: The storage daemons are spread evenly
    Then every node carries as many storage daemons as the others, with the same weight
    And every storage daemon bears the ordered device class

  @criterion-2
  Scenario: All data is whole
    Then every placement group is active and clean

  @criterion-2
  Scenario: The storage cluster is healthy and nothing is hushed up
    Then Ceph reports HEALTH_OK with nothing muted
    And no flag is set that keeps Ceph from healing itself
    And no daemon has crashed unseen

  Scenario: Monitors, managers and metadata servers have their stand-ins
    Then a monitor runs on each node and all of them are in quorum
    And a manager is active and each other node has one standing by
    And a metadata server is active and each other node has one standing by

  Scenario: Everything runs the ordered release
    Then every daemon of Ceph runs the ordered release and all run the same version

  Scenario: Storage traffic uses the ordered networks
    Then each monitor and storage daemon listens on the ordered networks and on no other

  Scenario: Pools are as ordered
    Then each ordered pool has its replicas, its minimum of replicas, its application and its share
    And no two replicas of a block stand on the same host

  Scenario: The capacity is what the arithmetic says
    Then the raw capacity is that of the ordered drives within 1 percent
    And the usable capacity is the raw capacity divided by the replicas, within 10 percent

  Scenario: There is room to lose a node
    Then what is stored stays below the warning level when a drive of each node, or a whole node, is lost
    And the report says whether a lost node's data can be placed elsewhere

  @criterion-9
  Scenario: Nobody reads or writes without a key
    Then Ceph asks daemons, services and clients for keys and takes no insecure reclaim
    And a client without a key, with a wrong key, or that offers no authentication is refused on each node

  @trial
  Scenario: An image can be made, written, read and removed
    Then in each ordered pool for images a node writes an image, another node reads the same and it is removed

  @trial
  Scenario: The file system shows every node the same
    Given the ordered file system is mounted on two nodes, chosen by the seed
    Then what one node writes there the other reads, and what is removed is gone for both

  Scenario: Proxmox knows the storage
    Then every node lists the ordered storage entries, each for its own pool
    And no storage entry points at a pool that is not there

  @criterion-9
  Scenario: What is needed to reach the storage is kept safe
    Then the cluster's id, the monitors' addresses and the administrator's key are in the parameter store
    And the key is stored encrypted and is the one in force

  Scenario: Clocks agree as closely as monitors need
    Then no monitor's clock is off by more than Ceph tolerates

  @criterion-2
  Scenario: A drive that carries data is refused and left as it is
    Then each kind of occupied drive would be refused, with what was found on it
    And no drive of the site that already serves would be written again

  Scenario: Nothing of the storage is left undone
    Then nothing that the storage orders is left undone
